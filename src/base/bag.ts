/**
 * What is under way, in no order: for what comes and goes by the thousand a second. V8 links the table of a Set or Map
 * to the larger one that replaces it, so once one of them has grown old, all later ones outlive the collection of what
 * is young, with everything their members hold.
 */
export class Bag<Item> {
  private readonly items: Item[] = [];

  get size(): number {
    return this.items.length;
  }

  add(item: Item): void {
    this.items.push(item);
  }

  /** Takes one out; false: it is not in here. What came last is found first, so what stays long costs others nothing. */
  delete(item: Item): boolean {
    const at = this.items.lastIndexOf(item);
    if (at < 0) return false;
    const last = this.items.pop() as Item;
    if (at < this.items.length) this.items[at] = last;
    return true;
  }

  /** One that is as asked for. */
  find(isWanted: (item: Item) => boolean): Item | undefined {
    return this.items.findLast(isWanted);
  }

  /** Those that are in it now, whatever happens to them meanwhile. */
  [Symbol.iterator](): IterableIterator<Item> {
    return this.items.slice().values();
  }
}
