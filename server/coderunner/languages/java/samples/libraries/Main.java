import com.google.gson.Gson;
import java.util.List;
import java.util.Map;
import org.apache.commons.lang3.StringUtils;
import org.junit.jupiter.api.Assertions;

public class Main {
    public static void main(String[] args) {
        System.out.println(new Gson().toJson(Map.of("numbers", List.of(1, 2, 3))));
        System.out.println(StringUtils.capitalize("hello"));
        Assertions.assertEquals(4, 2 + 2);
        try {
            Assertions.assertEquals(5, 2 + 2);
        } catch (AssertionError error) {
            System.out.println(error.getMessage());
        }
    }
}
