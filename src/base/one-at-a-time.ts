/** Asynchronous work that everybody who wants the same at the same time shares. Holds nothing that is settled. */
export class OneAtATime<T> {
  readonly #underWay = new Map<string, Promise<T>>();

  /** What is under way for `key`, else what `begin` starts. */
  join(key: string, begin: () => Promise<T>): Promise<T> {
    const known = this.#underWay.get(key);
    if (known) return known;
    const begun = begin().finally(() => {
      // It may have been forgotten, and begun anew, since.
      if (this.#underWay.get(key) === begun) this.#underWay.delete(key);
    });
    this.#underWay.set(key, begun);
    return begun;
  }

  /** Whoever asks from now on does not get what was begun before. */
  forget(key: string): void {
    this.#underWay.delete(key);
  }

  forgetAll(): void {
    this.#underWay.clear();
  }
}
