public class Main {
    public static void main(String[] args) {
        System.out.println("before");
        int[] numbers = {};
        System.out.println(numbers[3]);
    }
}
