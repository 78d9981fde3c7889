// The client of OkHttp. It speaks what ../driver.py describes.

import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.WebSocket;
import okhttp3.WebSocketListener;
import okhttp3.internal.ws.RealWebSocket;

public final class Client {
    private record Command(
            String op, String as, String on, String url, Map<String, String> headers,
            String text, int code) {}

    /** One connection; what comes in is queued as the answers it will be. */
    private static final class Socket extends WebSocketListener {
        final BlockingQueue<Map<String, ?>> incoming = new LinkedBlockingQueue<>();
        WebSocket connection;

        @Override
        public void onOpen(WebSocket connection, Response response) {
            incoming.add(Map.of());
        }

        @Override
        public void onMessage(WebSocket connection, String text) {
            incoming.add(Map.of("text", text));
        }

        @Override
        public void onClosing(WebSocket connection, int code, String reason) {
            incoming.add(Map.of("closed", List.of(code, reason)));
            connection.close(code, null);
        }

        @Override
        public void onFailure(WebSocket connection, Throwable error, Response response) {
            incoming.add(response == null
                    ? Map.of("closed", List.of(0, error.toString()))
                    : Map.of("status", response.code()));
        }

        /** The library pings by itself and shows no pong but to its own tests. */
        void awaitPong() throws InterruptedException {
            RealWebSocket counters = (RealWebSocket) connection;
            int before = counters.receivedPongCount();
            while (counters.receivedPongCount() == before) {
                Thread.sleep(10);
            }
        }

        Map<String, ?> close(int code) throws InterruptedException {
            connection.close(code, null);
            Map<String, ?> item = incoming.take();
            while (!item.containsKey("closed")) {
                item = incoming.take();
            }
            return item;
        }
    }

    private final OkHttpClient library;
    private final Map<String, Socket> sockets = new HashMap<>();

    private Client(Duration pingInterval) {
        library = new OkHttpClient.Builder().pingInterval(pingInterval).build();
    }

    private Map<String, ?> perform(Command command) throws InterruptedException {
        if (command.op.equals("connect")) {
            return connect(command);
        }
        Socket socket = sockets.get(command.on);
        switch (command.op) {
            case "send":
                socket.connection.send(command.text);
                return Map.of();
            case "receive":
                return socket.incoming.take();
            case "ping":
                socket.awaitPong();
                return Map.of();
            case "close":
                return socket.close(command.code);
            default:
                throw new IllegalArgumentException(command.op);
        }
    }

    private Map<String, ?> connect(Command command) throws InterruptedException {
        Request.Builder request = new Request.Builder().url(command.url);
        command.headers.forEach(request::header);
        Socket socket = new Socket();
        socket.connection = library.newWebSocket(request.build(), socket);
        sockets.put(command.as, socket);
        return socket.incoming.take();
    }

    public static void main(String[] arguments) throws Exception {
        long millis = arguments.length > 0 ? Long.parseLong(arguments[0]) : 500;
        Client client = new Client(Duration.ofMillis(millis));
        Gson gson = new Gson();
        BufferedReader input =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            Map<String, ?> answer = client.perform(gson.fromJson(line, Command.class));
            System.out.write((gson.toJson(answer) + "\n").getBytes(StandardCharsets.UTF_8));
            System.out.flush();
        }
        System.exit(0); // the library's threads would linger
    }
}
