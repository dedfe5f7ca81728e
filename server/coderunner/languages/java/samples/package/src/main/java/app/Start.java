package app;

record Greeting(String name) {
    String text() {
        return "Hello, " + name + "!";
    }
}

class Start {
    public static void main(String... args) {
        System.out.println(new Greeting(args.length > 0 ? args[0] : "world").text());
    }
}
