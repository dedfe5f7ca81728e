import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.spi.ToolProvider;
import java.util.stream.Stream;

/**
 * javac, warm: the same tool in a process that has its classes loaded and its hot code compiled.
 *
 * <p>A request is the working folder, the word javac and javac's arguments, each ended by a NUL, up to the end of the
 * stream. The answer is the exit code in decimal, a newline, and what javac would have printed. A request that it
 * cannot serve as the plain tool would (another working folder, out of memory, too long) gets no answer: the client
 * then starts the plain tool.
 *
 * <p>{@code java CompilerService SOCKET WARM-UP-FOLDER [once]}: the sources below the folder are compiled to warm up,
 * before there is a socket; with {@code once} there never is one, which makes the class data archive.
 */
public final class CompilerService {
    private static final ToolProvider JAVAC = ToolProvider.findFirst("javac").orElseThrow();
    private static final int WARM_UPS = 4; // then it takes a tenth of a cold one; more rounds gain little
    private static final long WARM_UP_MILLIS = 5000; // on a busy machine a service that is ready serves better
    private static final int MAX_REQUEST_BYTES = 1 << 20;
    private static final long MAX_MILLIS = 25_000; // less than the client's patience

    private static volatile long began = Long.MAX_VALUE;

    public static void main(String[] words) throws IOException {
        Path socket = Path.of(words[0]);
        warmUp(Path.of(words[1]), socket.resolveSibling("warm-up"));
        if (words.length > 2) return;
        watch();
        // Bound under another name first: whoever sees the socket can connect to it.
        Path early = socket.resolveSibling("early.sock");
        Files.deleteIfExists(early);
        try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            server.bind(UnixDomainSocketAddress.of(early));
            Files.move(early, socket);
            while (true) {
                try (SocketChannel client = server.accept()) {
                    serve(client);
                } catch (IOException gone) {
                    // The client's end: it has stopped waiting.
                }
            }
        }
    }

    private static void serve(SocketChannel client) throws IOException {
        List<String> words = read(client);
        String here = Path.of("").toAbsolutePath().toString();
        if (words.size() < 2 || !words.get(0).equals(here) || !words.get(1).equals("javac")) return;
        byte[] answer;
        began = System.currentTimeMillis();
        try {
            answer = compile(words.subList(2, words.size()));
        } catch (OutOfMemoryError | StackOverflowError small) {
            return;
        } finally {
            began = Long.MAX_VALUE;
        }
        ByteBuffer buffer = ByteBuffer.wrap(answer);
        while (buffer.hasRemaining()) client.write(buffer);
    }

    private static List<String> read(SocketChannel client) throws IOException {
        byte[] bytes = Channels.newInputStream(client).readNBytes(MAX_REQUEST_BYTES);
        String text = new String(bytes, StandardCharsets.UTF_8);
        if (bytes.length == MAX_REQUEST_BYTES || !text.endsWith("\0")) return List.of();
        return Arrays.asList(text.substring(0, text.length() - 1).split("\0", -1));
    }

    private static byte[] compile(List<String> arguments) throws IOException {
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        PrintWriter writer = new PrintWriter(said, false, StandardCharsets.UTF_8);
        int code = JAVAC.run(writer, writer, arguments.toArray(String[]::new));
        writer.flush();
        ByteArrayOutputStream answer = new ByteArrayOutputStream();
        answer.writeBytes((code + "\n").getBytes(StandardCharsets.US_ASCII));
        said.writeTo(answer);
        return answer.toByteArray();
    }

    private static void warmUp(Path sources, Path classes) throws IOException {
        List<Path> programs;
        try (Stream<Path> all = Files.list(sources)) {
            programs = all.filter(path -> path.toString().endsWith(".java")).sorted().toList();
        }
        long until = System.currentTimeMillis() + WARM_UP_MILLIS;
        for (int round = 0; round < WARM_UPS && System.currentTimeMillis() < until; round++) {
            for (Path program : programs) compile(List.of("-d", classes.toString(), program.toString()));
        }
        try (Stream<Path> made = Files.exists(classes) ? Files.walk(classes) : Stream.empty()) {
            for (Path path : made.sorted(Comparator.reverseOrder()).toList()) Files.delete(path);
        }
        System.gc();
    }

    /** A compilation that does not end takes the process with it; it is started anew. */
    private static void watch() {
        Thread watchman = new Thread(() -> {
            while (System.currentTimeMillis() - MAX_MILLIS < began) {
                try {
                    Thread.sleep(1000);
                } catch (InterruptedException never) {
                    return;
                }
            }
            Runtime.getRuntime().halt(75);
        }, "watchman");
        watchman.setDaemon(true);
        watchman.start();
    }
}
