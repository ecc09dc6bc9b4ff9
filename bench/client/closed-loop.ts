import { percentile } from '../statistics.ts';

/** One caller that waits for each answer before it asks again. */
export type Lane = {
  /** Runs one operation; `done` gets its fault, or undefined. */
  run(done: (fault: string | undefined) => void): void;
};

export type LoopPlan = { warmupMs: number; measureMs: number; maxCalls: number };
export type LoopResult = { calls: number; seconds: number; p50Ms: number; p99Ms: number };

/**
 * Drives all lanes at once: warm-up, then a measured window, then drains. Calls that are answered within the window
 * count. `onWindow` is called at its start and its end. The first fault ends it: figures of wrong answers are worth
 * nothing.
 */
export function runClosedLoop(lanes: Lane[], plan: LoopPlan, onWindow: () => void): Promise<LoopResult> {
  return new Promise((resolve, reject) => {
    const latencies = new Float64Array(plan.maxCalls);
    let phase: 'warmup' | 'window' | 'drain' = 'warmup';
    let calls = 0;
    let busy = lanes.length;
    let windowStart = 0;
    let windowEnd = 0;
    let timer = setTimeout(openWindow, plan.warmupMs);

    function openWindow(): void {
      onWindow();
      phase = 'window';
      windowStart = performance.now();
      timer = setTimeout(closeWindow, plan.measureMs);
    }

    function closeWindow(): void {
      clearTimeout(timer);
      phase = 'drain';
      windowEnd = performance.now();
      onWindow();
    }

    function finish(): void {
      const sorted = latencies.subarray(0, calls).sort();
      resolve({
        calls,
        seconds: (windowEnd - windowStart) / 1000,
        p50Ms: percentile(sorted, 0.5),
        p99Ms: percentile(sorted, 0.99),
      });
    }

    function drive(lane: Lane): void {
      const started = performance.now();
      lane.run((fault) => {
        if (fault !== undefined) {
          clearTimeout(timer);
          phase = 'drain';
          reject(new Error(fault));
          return;
        }
        if (phase === 'window') {
          latencies[calls] = performance.now() - started;
          calls += 1;
          if (calls === plan.maxCalls) closeWindow();
        }
        if (phase !== 'drain') drive(lane);
        else {
          busy -= 1;
          if (busy === 0) finish();
        }
      });
    }

    for (const lane of lanes) drive(lane);
  });
}
