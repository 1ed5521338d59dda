package peer;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Iterator;
import org.apache.flink.table.data.RowData;

/**
 * The events of a file in order, a frame at a time: bytes u32, events u32, number of the first event u64, then the events.
 *
 * <p>Ends before the event with the number {@code limit}, so that a shorter run has exactly the first events.
 */
final class PartReader implements Iterator<RowData> {
    private static final int HEAD = 16;

    private final FileChannel file;
    private final long limit;
    private final Decoder decoder;
    private byte[] frame = new byte[0];
    private int at;
    private long left;

    PartReader(Path path, long limit, Decoder decoder) {
        this.limit = limit;
        this.decoder = decoder;
        try {
            file = FileChannel.open(path);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        read();
    }

    @Override
    public boolean hasNext() {
        return left > 0;
    }

    @Override
    public RowData next() {
        RowData row = decoder.decode(frame, at);
        at = decoder.next();
        if (--left == 0) {
            read();
        }
        return row;
    }

    private void read() {
        try {
            ByteBuffer head = ByteBuffer.allocate(HEAD).order(ByteOrder.LITTLE_ENDIAN);
            if (fill(head)) {
                int nBytes = head.getInt(0);
                left = Math.max(0, Math.min(head.getInt(4), limit - head.getLong(8)));
                if (left > 0) {
                    frame = new byte[nBytes];
                    at = 0;
                    if (!fill(ByteBuffer.wrap(frame))) {
                        throw new IOException("the file ends within a frame");
                    }
                }
            }
            if (left == 0) {
                file.close();
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** False at the end of the file. */
    private boolean fill(ByteBuffer buffer) throws IOException {
        while (buffer.hasRemaining()) {
            if (file.read(buffer) < 0) {
                if (buffer.position() > 0) {
                    throw new IOException("the file ends within a frame");
                }
                return false;
            }
        }
        return true;
    }
}
