package peer;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;

/**
 * One event's bytes to a row of the columns that the plan asked for: an event of a kind that is not asked for is skipped, not decoded.
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

    /** @param projection numbers of columns, each path of length 1 */
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
        GenericRowData event = kind.event < 0 ? null : new GenericRowData(kind.fields.length());
        int number = at + 1;
        int length = number + 8 * kind.nNumbers;
        int text = length + 4 * kind.nTexts;
        for (int field = 0; field < kind.fields.length(); field++) {
            char type = kind.fields.charAt(field);
            Object value = null;
            if (type == 's') {
                int n = (int) INT.get(bytes, length);
                value = event == null ? null : StringData.fromBytes(bytes, text, n);
                length += 4;
                text += n;
            } else {
                if (event != null || field == kind.time) {
                    long v = (long) LONG.get(bytes, number);
                    value = type == 't' ? (Object) TimestampData.fromEpochMillis(v) : (Object) v;
                }
                number += 8;
            }
            if (event != null) {
                event.setField(field, value);
            }
            if (field == kind.time && kind.dateTime >= 0) {
                row.setField(kind.dateTime, value);
            }
        }
        if (event != null) {
            row.setField(kind.event, event);
        }
        if (kind.eventType >= 0) {
            row.setField(kind.eventType, kind.boxed);
        }
        next = text;
        return row;
    }

    /** The fields of one kind, and where it, its number and its time go; -1 is nowhere. */
    private static final class Kind {
        final Integer boxed;
        final String fields;
        final int time;
        final int nNumbers;
        final int nTexts;
        int event = -1;
        int eventType = -1;
        int dateTime = -1;

        Kind(int kind, int[][] projection) {
            boxed = kind;
            fields = FIELDS[kind];
            time = fields.indexOf('t');
            nTexts = (int) fields.chars().filter(type -> type == 's').count();
            nNumbers = fields.length() - nTexts;
            for (int at = 0; at < projection.length; at++) {
                int column = projection[at][0];
                if (column == 0) {
                    eventType = at;
                } else if (column == 4) {
                    dateTime = at;
                } else if (column == kind + 1) {
                    event = at;
                }
            }
        }
    }
}
