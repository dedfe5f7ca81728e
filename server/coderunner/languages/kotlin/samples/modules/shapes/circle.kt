package shapes

class Circle(private val radius: Double) {
    val area get() = Math.PI * radius * radius
}
