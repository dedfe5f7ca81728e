import java.util.List;

public class Main {
    public static void main(String[] args) {
        for (String word : List.of("Grüße", "Привет", "こんにちは", "🙂")) {
            System.out.println(word + " " + word.codePointCount(0, word.length()));
        }
    }
}
