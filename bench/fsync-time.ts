import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { percentile } from './statistics.ts';

const WRITES = 200;
const BLOCK_BYTES = 4096;

/** How long the disk under `directory` takes to make one appended 4 KiB block durable, in milliseconds. */
export async function measureFsync(directory: string): Promise<{ p50Ms: number; p99Ms: number }> {
  const path = join(directory, 'fsync-probe');
  const file = await open(path, 'w', 0o600);
  const times = new Float64Array(WRITES);
  try {
    for (let index = 0; index < WRITES; index += 1) {
      const started = performance.now();
      await file.write(Buffer.alloc(BLOCK_BYTES, index));
      await file.sync();
      times[index] = performance.now() - started;
    }
  } finally {
    await file.close();
    await rm(path);
  }
  times.sort();
  return { p50Ms: percentile(times, 0.5), p99Ms: percentile(times, 0.99) };
}
