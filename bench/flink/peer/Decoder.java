package peer;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;

/**
 * One event's bytes to a row of the fields that the plan asked for.
 *
 * <pre>
 *   kind u8 | numbers and times (ms) i64, in the order of the fields | lengths of texts u32 | texts, UTF-8      little endian
 * </pre>
 *
 * A text points into the frame that was read; nothing is copied. Frames are never written again.
 */
final class Decoder {
    /** The kinds: person, auction, bid; n is a number, t a time, s a text. */
    private static final String[] FIELDS = {"nsssssts", "nssnnttnns", "nnnssts"};

    /** Columns of the table: event_type, the three rows, date_time. */
    static final int[][] EVERYTHING = {{0}, {1}, {2}, {3}, {4}};

    private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle INT = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

    private final int width;
    private final Kind[] kinds = new Kind[FIELDS.length];
    private int next;

    /** @param projection paths of columns, of length 1 (a whole column) or 2 (a field of one of the three rows) */
    Decoder(int[][] projection) {
        width = projection.length;
        for (int kind = 0; kind < FIELDS.length; kind++) {
            kinds[kind] = new Kind(kind, projection);
        }
    }

    /** Where the event after the decoded one begins. */
    int next() {
        return next;
    }

    RowData decode(byte[] bytes, int at) {
        Kind kind = kinds[bytes[at]];
        GenericRowData row = new GenericRowData(width);
        GenericRowData inner = kind.whole < 0 ? null : new GenericRowData(kind.fields.length());
        int number = at + 1;
        int length = number + 8 * kind.nNumbers;
        int text = length + 4 * kind.nTexts;
        for (int field = 0; field < kind.fields.length(); field++) {
            char type = kind.fields.charAt(field);
            int to = kind.to[field];
            boolean wanted = to >= 0 || inner != null || field == kind.time && kind.dateTime >= 0;
            Object value = null;
            if (type == 's') {
                int n = (int) INT.get(bytes, length);
                value = wanted ? StringData.fromBytes(bytes, text, n) : null;
                length += 4;
                text += n;
            } else {
                if (wanted) {
                    long v = (long) LONG.get(bytes, number);
                    value = type == 't' ? (Object) TimestampData.fromEpochMillis(v) : (Object) v;
                }
                number += 8;
            }
            if (to >= 0) {
                row.setField(to, value);
            }
            if (inner != null) {
                inner.setField(field, value);
            }
            if (field == kind.time && kind.dateTime >= 0) {
                row.setField(kind.dateTime, value);
            }
        }
        if (inner != null) {
            row.setField(kind.whole, inner);
        }
        if (kind.eventType >= 0) {
            row.setField(kind.eventType, kind.boxed);
        }
        next = text;
        return row;
    }

    /** Where the fields of one kind go; -1 is nowhere. */
    private static final class Kind {
        final Integer boxed;
        final String fields;
        final int time;
        final int nNumbers;
        final int nTexts;
        final int[] to;
        int whole = -1;
        int eventType = -1;
        int dateTime = -1;

        Kind(int kind, int[][] projection) {
            boxed = kind;
            fields = FIELDS[kind];
            time = fields.indexOf('t');
            nTexts = (int) fields.chars().filter(type -> type == 's').count();
            nNumbers = fields.length() - nTexts;
            to = new int[fields.length()];
            java.util.Arrays.fill(to, -1);
            for (int at = 0; at < projection.length; at++) {
                int[] path = projection[at];
                if (path[0] == 0) {
                    eventType = at;
                } else if (path[0] == 4) {
                    dateTime = at;
                } else if (path[0] == kind + 1 && path.length == 1) {
                    whole = at;
                } else if (path[0] == kind + 1) {
                    to[path[1]] = at;
                }
            }
        }
    }
}
