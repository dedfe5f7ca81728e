fun main() {
    print("What is your name? ")
    println("Hello, ${readln()}!")
}
