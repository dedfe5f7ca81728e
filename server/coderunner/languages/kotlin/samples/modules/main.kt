import shapes.Circle

fun main() {
    println("%.3f".format(Circle(2.0).area))
}
