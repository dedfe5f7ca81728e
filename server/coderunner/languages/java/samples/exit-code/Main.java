public class Main {
    public static void main(String[] args) {
        System.out.println("leaving with 7");
        System.exit(7);
    }
}
