import java.util.Scanner;

public class Main {
    public static void main(String[] args) {
        System.out.print("What is your name? ");
        String name = new Scanner(System.in).nextLine();
        System.out.println("Hello, " + name + "!");
    }
}
