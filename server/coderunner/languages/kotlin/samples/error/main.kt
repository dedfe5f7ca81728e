fun main() {
    println("before")
    val numbers = listOf<Int>()
    println(numbers[3])
}
