package peer;

import java.io.BufferedWriter;
import java.io.IOException;
import java.io.Serializable;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;
import org.apache.flink.types.RowKind;

/**
 * Where a query's changes end.
 *
 * <p>Without {@code rows} they are counted by kind and dropped, and rows before an update are not asked for, as Flink's own blackhole has
 * it. With {@code rows} every change is taken and the rows that stand are kept; {@link #write} puts them into a file after the job: CSV,
 * every value quoted, NULL as {@code \N}. A writer may see a row taken back that another one was given, so they are summed up first.
 */
public final class Changes implements DynamicTableSinkFactory {
    private static final ConfigOption<Boolean> ROWS = ConfigOptions.key("rows").booleanType().defaultValue(false);

    /** How often each row stands, of all writers that have ended. */
    private static final Map<String, Integer> STANDING = new HashMap<>();

    /** The rows that stand after a job, and are forgotten then; fails if one was taken back more often than given. */
    static void write(Path file) throws IOException {
        synchronized (STANDING) {
            try (BufferedWriter out = Files.newBufferedWriter(file)) {
                for (Map.Entry<String, Integer> row : STANDING.entrySet()) {
                    if (row.getValue() < 0) {
                        throw new IOException("taken back and never given: " + row.getKey());
                    }
                    for (int copy = 0; copy < row.getValue(); copy++) {
                        out.write(row.getKey());
                        out.write('\n');
                    }
                }
            }
            STANDING.clear();
        }
    }

    private static void add(Map<String, Integer> to, String row, int diff) {
        to.merge(row, diff, (have, more) -> have + more == 0 ? null : Integer.valueOf(have + more));
    }

    @Override
    public String factoryIdentifier() {
        return "changes";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of();
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of(ROWS);
    }

    @Override
    public DynamicTableSink createDynamicTableSink(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        return new Table(helper.getOptions().get(ROWS), context.getPhysicalRowDataType().getLogicalType().getChildren());
    }

    private static final class Table implements DynamicTableSink {
        private final boolean rows;
        private final List<LogicalType> types;

        Table(boolean rows, List<LogicalType> types) {
            this.rows = rows;
            this.types = types;
        }

        @Override
        public ChangelogMode getChangelogMode(ChangelogMode requested) {
            if (rows) {
                return ChangelogMode.all();
            }
            ChangelogMode.Builder kinds = ChangelogMode.newBuilder();
            requested.getContainedKinds().stream().filter(kind -> kind != RowKind.UPDATE_BEFORE).forEach(kinds::addContainedKind);
            return kinds.build();
        }

        @Override
        public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
            return SinkV2Provider.of(rows ? new Standing(types) : new Counting());
        }

        @Override
        public DynamicTableSink copy() {
            return new Table(rows, types);
        }

        @Override
        public String asSummaryString() {
            return "changes";
        }
    }

    private static final class Counting implements Sink<RowData> {
        @Override
        public SinkWriter<RowData> createWriter(WriterInitContext context) {
            long[] counts = new long[RowKind.values().length];
            return new SinkWriter<>() {
                @Override
                public void write(RowData row, Context where) {
                    counts[row.getRowKind().toByteValue()]++;
                }

                @Override
                public void flush(boolean end) {}

                @Override
                public void close() {
                    Job.end(counts);
                }
            };
        }
    }

    private static final class Standing implements Sink<RowData> {
        private final List<Field> fields = new ArrayList<>();

        Standing(List<LogicalType> types) {
            for (int at = 0; at < types.size(); at++) {
                fields.add(new Field(types.get(at), at));
            }
        }

        @Override
        public SinkWriter<RowData> createWriter(WriterInitContext context) {
            long[] counts = new long[RowKind.values().length];
            Map<String, Integer> standing = new HashMap<>();
            return new SinkWriter<>() {
                @Override
                public void write(RowData row, Context where) {
                    RowKind kind = row.getRowKind();
                    counts[kind.toByteValue()]++;
                    int diff = kind == RowKind.INSERT || kind == RowKind.UPDATE_AFTER ? 1 : -1;
                    add(standing, line(row), diff);
                }

                @Override
                public void flush(boolean end) {}

                @Override
                public void close() {
                    Job.end(counts);
                    synchronized (STANDING) {
                        standing.forEach((row, n) -> add(STANDING, row, n));
                    }
                }
            };
        }

        private String line(RowData row) {
            StringBuilder line = new StringBuilder();
            for (Field field : fields) {
                if (line.length() > 0) {
                    line.append(',');
                }
                field.append(row, line);
            }
            return line.toString();
        }
    }

    /** A column as text. */
    private static final class Field implements Serializable {
        private final RowData.FieldGetter getter;

        Field(LogicalType type, int at) {
            Set<LogicalTypeRoot> known =
                    Set.of(
                            LogicalTypeRoot.INTEGER,
                            LogicalTypeRoot.BIGINT,
                            LogicalTypeRoot.DOUBLE,
                            LogicalTypeRoot.CHAR,
                            LogicalTypeRoot.VARCHAR,
                            LogicalTypeRoot.TIMESTAMP_WITHOUT_TIME_ZONE);
            if (!known.contains(type.getTypeRoot())) {
                throw new IllegalArgumentException("no text for a column of type " + type);
            }
            getter = RowData.createFieldGetter(type, at);
        }

        void append(RowData row, StringBuilder line) {
            Object value = getter.getFieldOrNull(row);
            if (value == null) {
                line.append("\\N");
            } else {
                // a time's own text lacks the seconds where they are zero
                String text = value instanceof TimestampData time ? time.toTimestamp().toString() : value.toString();
                line.append('"').append(text.replace("\"", "\"\"")).append('"');
            }
        }
    }
}
