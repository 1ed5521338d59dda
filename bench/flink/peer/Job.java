package peer;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.Locale;

/**
 * What one job cost, from its first reader's start to its last writer's end: CPU time of the whole process (compiling and collecting
 * threads too), time on the clock, changes by kind.
 */
final class Job {
    private static final OperatingSystemMXBean SYSTEM = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private static Job now = new Job();

    private boolean begun;
    private long cpuFrom;
    private long wallFrom;
    private long cpuTo;
    private long wallTo;
    private final long[] counts = new long[4];

    /** A new job is about to be submitted. */
    static synchronized void reset() {
        now = new Job();
    }

    static synchronized void begin() {
        if (!now.begun) {
            now.begun = true;
            now.cpuFrom = SYSTEM.getProcessCpuTime();
            now.wallFrom = System.nanoTime();
        }
    }

    /** Insertions, rows before and after updates, deletions of one writer. */
    static synchronized void end(long[] counts) {
        now.cpuTo = SYSTEM.getProcessCpuTime();
        now.wallTo = System.nanoTime();
        for (int kind = 0; kind < counts.length; kind++) {
            now.counts[kind] += counts[kind];
        }
    }

    /** Fields of a JSON object. */
    static synchronized String json() {
        return String.format(
                Locale.ROOT,
                "\"cpu_s\": %.3f, \"wall_s\": %.3f, \"inserts\": %d, \"updates_before\": %d, \"updates_after\": %d, \"deletes\": %d",
                (now.cpuTo - now.cpuFrom) / 1e9,
                (now.wallTo - now.wallFrom) / 1e9,
                now.counts[0],
                now.counts[1],
                now.counts[2],
                now.counts[3]);
    }
}
