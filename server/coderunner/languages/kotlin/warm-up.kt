data class Point(val x: Int, val y: Int)

sealed interface Shape { val area: Double }
class Circle(private val radius: Double) : Shape { override val area get() = Math.PI * radius * radius }

fun main(args: Array<String>) {
    val counts = args.groupingBy { it.length }.eachCount().toSortedMap()
    for ((size, count) in counts) println("$size: $count")
    val points = (1..3).map { Point(it, it * it) }.filter { it.x > 1 }
    println(points.joinToString { (x, y) -> "%d,%d".format(x, y) })
    val shape: Shape = Circle(2.0)
    when (shape) { is Circle -> println(shape.area) }
    val name = readLine() ?: "nobody"
    println(name.takeIf { it.isNotEmpty() }?.uppercase())
}
