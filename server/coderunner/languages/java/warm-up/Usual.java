import java.util.*;
import java.util.function.Function;
import java.util.stream.Collectors;

/** What short programs are made of, so that the compiler has been through it. */
public class Usual {
    enum Colour { RED, GREEN }

    record Point(int x, int y) {}

    interface Shape { double area(); }

    static abstract class Named<T extends Comparable<T>> implements Shape {
        protected final T name;

        Named(T name) { this.name = name; }

        @Override public String toString() { return name + ": " + area(); }
    }

    static class Circle extends Named<String> {
        private final double radius;

        Circle(double radius) { super("circle"); this.radius = radius; }

        @Override public double area() { return Math.PI * radius * radius; }
    }

    static <T> List<T> twice(List<? extends T> list) {
        List<T> all = new ArrayList<>(list);
        all.addAll(list);
        return all;
    }

    static int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

    public static void main(String[] args) throws Exception {
        Map<String, Integer> counts = new HashMap<>();
        int[] numbers = {1, 2, 3};
        for (int number : numbers) counts.merge("n" + number % 2, number, Integer::sum);
        for (var entry : counts.entrySet()) System.out.printf("%s %d%n", entry.getKey(), entry.getValue());
        Function<Integer, Integer> square = x -> x * x;
        System.out.println(twice(List.of(1, 2)).stream().map(square).filter(x -> x > 1).collect(Collectors.toList()));
        StringBuilder text = new StringBuilder();
        switch (Colour.values()[fibonacci(1)]) {
            case RED -> text.append("red");
            default -> text.append("green");
        }
        try (Scanner scanner = new Scanner(System.in)) {
            while (scanner.hasNextLine()) text.append(scanner.nextLine().trim()).append('\n');
        } catch (IllegalStateException error) {
            throw new RuntimeException("no input", error);
        } finally {
            System.out.println(text);
        }
        Object shape = new Circle(2);
        if (shape instanceof Circle circle && circle.area() > 1) System.out.println(circle);
        new Thread(() -> System.out.println(new Point(1, 2))).start();
        long total = 0;
        do { total += numbers[(int) (total % numbers.length)]; } while (total < 10);
    }
}
