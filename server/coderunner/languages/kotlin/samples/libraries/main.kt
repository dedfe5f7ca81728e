import kotlin.reflect.full.valueParameters
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking

fun square(value: Int) = value * value

fun main() = runBlocking {
    println((1..3).map { async { square(it) } }.awaitAll())
    println("${::square.name} of ${::square.valueParameters.map { it.name }}")
}
