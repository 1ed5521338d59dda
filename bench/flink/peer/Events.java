package peer;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.api.connector.source.lib.util.IteratorSourceEnumerator;
import org.apache.flink.api.connector.source.lib.util.IteratorSourceReader;
import org.apache.flink.api.connector.source.lib.util.IteratorSourceSplit;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.ScanTableSource;
import org.apache.flink.table.connector.source.SourceProvider;
import org.apache.flink.table.connector.source.abilities.SupportsProjectionPushDown;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.DataType;

/**
 * The Nexmark events as a table: two parts in two files, each read in order by one reader, as two partitions of a topic are.
 *
 * <p>Only the kinds of events that the plan asks for are decoded. There are no checkpoints in this bench, so a reader's position is never asked.
 */
public final class Events implements DynamicTableSourceFactory {
    static final int N_PARTS = 2;
    /** Frames of so many events go to the parts in turn. */
    private static final long FRAME_EVENTS = 1_000;
    private static final ConfigOption<String> DIR = ConfigOptions.key("dir").stringType().noDefaultValue();
    private static final ConfigOption<Long> LIMIT = ConfigOptions.key("limit").longType().noDefaultValue();

    /** The table in SQL; the fields of a row are in the order of {@link Decoder}. */
    static String table(String dir, long limit) {
        return "CREATE TABLE events (event_type INT,"
                + " person ROW<id BIGINT, name STRING, email_address STRING, credit_card STRING, city STRING, state STRING,"
                + " date_time TIMESTAMP(3), extra STRING>,"
                + " auction ROW<id BIGINT, item_name STRING, description STRING, initial_bid BIGINT, reserve BIGINT,"
                + " date_time TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING>,"
                + " bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time TIMESTAMP(3),"
                + " extra STRING>,"
                + " date_time TIMESTAMP(3), WATERMARK FOR date_time AS date_time - INTERVAL '0.001' SECOND)"
                + " WITH ('connector' = 'nexmark-events', 'dir' = '" + dir.replace("'", "''") + "', 'limit' = '" + limit + "')";
    }

    @Override
    public String factoryIdentifier() {
        return "nexmark-events";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(DIR, LIMIT);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of();
    }

    @Override
    public DynamicTableSource createDynamicTableSource(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        return new Table(helper.getOptions().get(DIR), helper.getOptions().get(LIMIT), Decoder.EVERYTHING);
    }

    private static final class Table implements ScanTableSource, SupportsProjectionPushDown {
        private final String dir;
        private final long limit;
        private int[][] projection;

        Table(String dir, long limit, int[][] projection) {
            this.dir = dir;
            this.limit = limit;
            this.projection = projection;
        }

        @Override
        public boolean supportsNestedProjection() {
            // the planner does not push fields of rows through a watermark
            return false;
        }

        @Override
        public void applyProjection(int[][] paths, DataType produced) {
            projection = paths;
        }

        @Override
        public ChangelogMode getChangelogMode() {
            return ChangelogMode.insertOnly();
        }

        @Override
        public ScanRuntimeProvider getScanRuntimeProvider(ScanContext context) {
            return SourceProvider.of(new Files(dir, limit, projection));
        }

        @Override
        public DynamicTableSource copy() {
            return new Table(dir, limit, projection);
        }

        @Override
        public String asSummaryString() {
            return "nexmark events";
        }
    }

    /** Both files. */
    private static final class Files implements Source<RowData, Part, Collection<Part>> {
        private final String dir;
        private final long limit;
        private final int[][] projection;

        Files(String dir, long limit, int[][] projection) {
            this.dir = dir;
            this.limit = limit;
            this.projection = projection;
        }

        Part part(int number) {
            return new Part(number, dir, limit, projection);
        }

        @Override
        public Boundedness getBoundedness() {
            return Boundedness.BOUNDED;
        }

        @Override
        public SplitEnumerator<Part, Collection<Part>> createEnumerator(SplitEnumeratorContext<Part> context) {
            List<Part> parts = new ArrayList<>();
            // Flink's reader takes no part without an event
            for (int number = 0; number < N_PARTS && number * FRAME_EVENTS < limit; number++) {
                parts.add(part(number));
            }
            return new IteratorSourceEnumerator<>(context, parts);
        }

        @Override
        public SplitEnumerator<Part, Collection<Part>> restoreEnumerator(SplitEnumeratorContext<Part> context, Collection<Part> left) {
            return new IteratorSourceEnumerator<>(context, left);
        }

        @Override
        public SourceReader<RowData, Part> createReader(SourceReaderContext context) {
            return new IteratorSourceReader<>(context);
        }

        @Override
        public SimpleVersionedSerializer<Part> getSplitSerializer() {
            return new Numbers(this);
        }

        @Override
        public SimpleVersionedSerializer<Collection<Part>> getEnumeratorCheckpointSerializer() {
            return new Lists(this);
        }
    }

    /** One of the files. */
    private static final class Part implements IteratorSourceSplit<RowData, PartReader> {
        private final int number;
        private final String dir;
        private final long limit;
        private final int[][] projection;

        Part(int number, String dir, long limit, int[][] projection) {
            this.number = number;
            this.dir = dir;
            this.limit = limit;
            this.projection = projection;
        }

        @Override
        public String splitId() {
            return Integer.toString(number);
        }

        @Override
        public PartReader getIterator() {
            Job.begin();
            return new PartReader(java.nio.file.Path.of(dir, "part-" + number + ".rows"), limit, new Decoder(projection));
        }

        @Override
        public IteratorSourceSplit<RowData, PartReader> getUpdatedSplitForIterator(PartReader reader) {
            throw new UnsupportedOperationException("checkpoints are off");
        }
    }

    /** A part is sent to its reader as its number. */
    private static final class Numbers implements SimpleVersionedSerializer<Part> {
        private final Files files;

        Numbers(Files files) {
            this.files = files;
        }

        @Override
        public int getVersion() {
            return 1;
        }

        @Override
        public byte[] serialize(Part part) {
            return new byte[] {(byte) part.number};
        }

        @Override
        public Part deserialize(int version, byte[] bytes) {
            return files.part(bytes[0]);
        }
    }

    private static final class Lists implements SimpleVersionedSerializer<Collection<Part>> {
        private final Files files;

        Lists(Files files) {
            this.files = files;
        }

        @Override
        public int getVersion() {
            return 1;
        }

        @Override
        public byte[] serialize(Collection<Part> parts) throws IOException {
            byte[] bytes = new byte[parts.size()];
            int at = 0;
            for (Part part : parts) {
                bytes[at++] = (byte) part.number;
            }
            return bytes;
        }

        @Override
        public Collection<Part> deserialize(int version, byte[] bytes) {
            List<Part> parts = new ArrayList<>();
            for (byte number : bytes) {
                parts.add(files.part(number));
            }
            return parts;
        }
    }
}
