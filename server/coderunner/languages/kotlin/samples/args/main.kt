fun main(args: Array<String>) {
    args.forEachIndexed { index, word -> println("${index + 1} $word") }
}
