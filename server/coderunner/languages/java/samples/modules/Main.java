import shapes.Circle;

public class Main {
    public static void main(String[] args) {
        System.out.println(String.format("%.3f", new Circle(2).area()));
    }
}
