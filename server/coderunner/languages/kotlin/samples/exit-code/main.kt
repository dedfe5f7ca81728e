import kotlin.system.exitProcess

fun main() {
    println("leaving with 7")
    exitProcess(7)
}
