import type { Cancellation } from '../base/cancellation.ts';
import { UpstreamFault } from './transport.ts';

export type SlotHolder = {
  /** Nothing in flight, so its channel may be closed to make room. */
  readonly idleSince: number | undefined;
  /** Closes the channel; resolves when what it held is gone. */
  evict(): Promise<void>;
};

/** What a connection needs of whoever bounds it. */
export type Slot = {
  claim(holder: SlotHolder, deadline: number, hangUp: Cancellation): Promise<void>;
  release(holder: SlotHolder): void;
  /** The holder became idle: whoever waits may take its place. */
  wake(): void;
};

/**
 * Bounds how many connections of one kind are open at once. A newcomer takes a free slot, else the slot of the
 * holder that has been idle longest, else waits in line to its deadline.
 */
export class Slots implements Slot {
  private readonly holders = new Set<SlotHolder>();
  private readonly waiting: (() => void)[] = [];
  readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  get taken(): number {
    return this.holders.size;
  }

  async claim(holder: SlotHolder, deadline: number, hangUp: Cancellation): Promise<void> {
    // One that dials again while its old process is still on its way out holds its slot already.
    if (this.holders.has(holder)) return;
    while (this.holders.size >= this.limit) {
      const victim = this.longestIdle();
      if (victim) {
        this.holders.delete(victim);
        this.holders.add(holder);
        await victim.evict();
        return;
      }
      await this.turn(deadline, hangUp);
    }
    this.holders.add(holder);
  }

  release(holder: SlotHolder): void {
    if (this.holders.delete(holder)) this.waiting.shift()?.();
  }

  wake(): void {
    this.waiting.shift()?.();
  }

  private longestIdle(): SlotHolder | undefined {
    let found: SlotHolder | undefined;
    for (const holder of this.holders) {
      if (holder.idleSince === undefined) continue;
      if (!found || holder.idleSince < found.idleSince!) found = holder;
    }
    return found;
  }

  private turn(deadline: number, hangUp: Cancellation): Promise<void> {
    return new Promise((resolve, reject) => {
      let stay = () => {};
      const leave = (fault: UpstreamFault) => {
        const at = this.waiting.indexOf(wake);
        if (at >= 0) this.waiting.splice(at, 1);
        clearTimeout(timer);
        stay();
        reject(fault);
      };
      const wake = () => {
        clearTimeout(timer);
        stay();
        resolve();
      };
      const full = `all ${this.limit} places for upstream connections are taken and busy; try again later`;
      const timer = setTimeout(
        () => leave(new UpstreamFault('capacity', full)),
        Math.max(0, deadline - Date.now()),
      );
      this.waiting.push(wake);
      stay = hangUp.onCancel((reason) => leave(new UpstreamFault('unreachable', reason)));
    });
  }
}

/** One slot for all connections of a server: over HTTP a further session costs no process. */
export class SharedSlot implements Slot, SlotHolder {
  private readonly slots: Slots;
  private readonly members = new Set<SlotHolder>();
  private claiming: Promise<void> | undefined;

  constructor(slots: Slots) {
    this.slots = slots;
  }

  get idleSince(): number | undefined {
    let latest = 0;
    for (const { idleSince } of this.members) {
      if (idleSince === undefined) return undefined;
      latest = Math.max(latest, idleSince);
    }
    return latest;
  }

  async evict(): Promise<void> {
    await Promise.all([...this.members].map((member) => member.evict()));
  }

  async claim(member: SlotHolder, deadline: number, hangUp: Cancellation): Promise<void> {
    if (this.members.size === 0) {
      this.claiming = this.slots.claim(this, deadline, hangUp);
    }
    this.members.add(member);
    try {
      await this.claiming;
    } catch (error) {
      this.members.delete(member);
      throw error;
    }
  }

  release(member: SlotHolder): void {
    if (this.members.delete(member) && this.members.size === 0) this.slots.release(this);
  }

  wake(): void {
    this.slots.wake();
  }
}
