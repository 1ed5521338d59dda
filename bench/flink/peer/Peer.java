package peer;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.util.EnvironmentInformation;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableDescriptor;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TablePipeline;
import org.apache.flink.table.api.TableResult;

/**
 * One query over Nexmark events in this process: a cluster of one task manager with two slots, streaming mode, mini batches, no
 * checkpoints.
 *
 * <pre>
 *   peer.Peer dir=FOLDER events=N query=SQL [warm=N] [rows=FILE] [rocksdb=FOLDER memory=BYTES] [explain=yes]
 * </pre>
 *
 * Prints one line of JSON. {@code warm}: the same query over so many events first, in the same process, so that the measured job is
 * compiled already. A query that the planner does not take is {@code {"refused": why}}.
 */
public final class Peer {
    private static final String VIEWS =
            "CREATE VIEW person AS SELECT person.id, person.name, person.email_address, person.credit_card, person.city, person.state,"
                    + " date_time, person.extra FROM events WHERE event_type = 0;"
                    + "CREATE VIEW auction AS SELECT auction.id, auction.item_name, auction.description, auction.initial_bid,"
                    + " auction.reserve, date_time, auction.expires, auction.seller, auction.category, auction.extra"
                    + " FROM events WHERE event_type = 1;"
                    + "CREATE VIEW bid AS SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, date_time, bid.extra"
                    + " FROM events WHERE event_type = 2";

    private Peer() {}

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (String arg : args) {
            int at = arg.indexOf('=');
            if (at < 0) {
                throw new IllegalArgumentException("not NAME=VALUE: " + arg);
            }
            options.put(arg.substring(0, at), arg.substring(at + 1));
        }
        if (options.containsKey("warm")) {
            Map<String, String> first = new HashMap<>(options);
            first.put("events", options.get("warm"));
            first.remove("explain");
            if (!run(first)) {
                return;
            }
            options.remove("rows");
        }
        Watch disk = new Watch(options.get("rocksdb"));
        if (run(options)) {
            System.out.printf(
                    "{\"version\": \"Flink %s\", %s, \"disk_bytes\": %d}%n", EnvironmentInformation.getVersion(), Job.json(), disk.most());
        }
    }

    /** False where the planner did not take the query; that has been told. */
    private static boolean run(Map<String, String> options) throws Exception {
        TableEnvironment env = TableEnvironment.create(EnvironmentSettings.newInstance().withConfiguration(settings(options)).build());
        TableDescriptor.Builder to = TableDescriptor.forConnector("changes");
        if (options.containsKey("rows")) {
            to.option("rows", "true");
        }
        Job.reset();
        TableResult job;
        try {
            env.executeSql(Events.table(options.get("dir"), Long.parseLong(options.get("events"))));
            for (String view : VIEWS.split(";")) {
                env.executeSql(view);
            }
            TablePipeline query = env.sqlQuery(options.get("query")).insertInto(to.build());
            if (options.containsKey("explain")) {
                System.out.println(query.explain());
            }
            job = query.execute();
        } catch (RuntimeException error) {
            Throwable cause = error;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            String why = String.valueOf(cause.getMessage()).lines().findFirst().orElse(cause.getClass().getName());
            System.out.printf("{\"refused\": \"%s\"}%n", why.replace("\\", "\\\\").replace("\"", "\\\"").replace("\t", " "));
            return false;
        }
        job.await();
        if (options.containsKey("rows")) {
            Changes.write(Path.of(options.get("rows")));
        }
        return true;
    }

    private static Configuration settings(Map<String, String> options) {
        Configuration all = new Configuration();
        all.setString("execution.runtime-mode", "STREAMING");
        all.setString("parallelism.default", Integer.toString(Events.N_PARTS));
        all.setString("taskmanager.numberOfTaskSlots", Integer.toString(Events.N_PARTS));
        all.setString("pipeline.object-reuse", "true");
        all.setString("table.local-time-zone", "UTC");
        // as Nexmark's own settings for Flink have them
        all.setString("table.exec.mini-batch.enabled", "true");
        all.setString("table.exec.mini-batch.allow-latency", "2 s");
        all.setString("table.exec.mini-batch.size", "50000");
        if (options.containsKey("rocksdb")) {
            all.setString("state.backend.type", "rocksdb");
            all.setString("state.backend.rocksdb.localdir", options.get("rocksdb"));
            all.setString("taskmanager.memory.managed.size", options.get("memory") + " bytes");
        } else {
            all.setString("state.backend.type", "hashmap");
        }
        return all;
    }

    /** How large a folder becomes, looked at twice a second. */
    private static final class Watch {
        private volatile long most;

        Watch(String folder) {
            if (folder == null) {
                return;
            }
            Thread thread =
                    new Thread(
                            () -> {
                                while (true) {
                                    most = Math.max(most, size(Path.of(folder)));
                                    try {
                                        Thread.sleep(Duration.ofMillis(500).toMillis());
                                    } catch (InterruptedException end) {
                                        return;
                                    }
                                }
                            },
                            "watch");
            thread.setDaemon(true);
            thread.start();
        }

        long most() {
            return most;
        }

        private static long size(Path folder) {
            try (Stream<Path> all = Files.walk(folder)) {
                return all.mapToLong(path -> path.toFile().length()).sum();
            } catch (IOException | RuntimeException gone) {
                // files come and go meanwhile; the next look sees them
                return 0;
            }
        }
    }
}
