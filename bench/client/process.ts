/** The load client's process: takes one Job at a time over IPC and sends a JobReply back. */
import { availableParallelism } from 'node:os';
import { cpuSecondsOfMachine, cpuSecondsOfTree } from '../process-usage.ts';
import { runClosedLoop } from './closed-loop.ts';
import { openHttpLanes } from './http-lanes.ts';
import type { CpuSeconds, Job, JobOutcome, JobReply } from './job.ts';
import { openStdioLanes } from './stdio-lanes.ts';

type Reading = CpuSeconds & { machine: number };

async function runJob(job: Job): Promise<JobOutcome> {
  const { target } = job;
  const opened = await (target.kind === 'http'
    ? openHttpLanes(job, new URL(target.url), target.token)
    : openStdioLanes(job, target.args));
  const upstream = opened.childPid ?? job.trees.upstream;
  const readings: Reading[] = [];
  const result = await runClosedLoop(opened.lanes, job.plan, () => {
    readings.push(readCpu(job.trees.gateway, upstream));
  });
  await opened.close();
  const { machine, ...cpu } = difference(readings[0]!, readings[1]!);
  const ours = cpu.client + (cpu.gateway ?? 0) + (cpu.upstream ?? 0);
  const strangers = Math.max(0, machine - ours) / (result.seconds * availableParallelism());
  return { ...result, cpu, strangers };
}

function readCpu(gateway: number | undefined, upstream: number | undefined): Reading {
  const own = process.cpuUsage();
  return {
    machine: cpuSecondsOfMachine(),
    client: (own.user + own.system) / 1e6,
    gateway: gateway === undefined ? undefined : cpuSecondsOfTree(gateway),
    upstream: upstream === undefined ? undefined : cpuSecondsOfTree(upstream),
  };
}

function difference(from: Reading, to: Reading): Reading {
  const between = (a: number | undefined, b: number | undefined) =>
    a === undefined || b === undefined ? undefined : b - a;
  return {
    machine: to.machine - from.machine,
    client: to.client - from.client,
    gateway: between(from.gateway, to.gateway),
    upstream: between(from.upstream, to.upstream),
  };
}

process.on('message', (job: Job) => {
  runJob(job).then(
    (outcome) => process.send?.({ outcome } satisfies JobReply),
    (error: Error) => process.send?.({ error: error.message } satisfies JobReply),
  );
});
process.on('disconnect', () => process.exit(0));
