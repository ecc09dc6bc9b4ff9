import type { Size } from './model.ts';

/** Where everything stands. Widths and heights in cells; `details.beside` puts them at the right, else below. */
export type Geometry = {
  sessions: { width: number; rows: number };
  timeline: { width: number; rows: number };
  details: { beside: boolean; width: number; rows: number };
  /** Between the bar at the top with its filters and the keys at the bottom. */
  bodyRows: number;
};

export const SMALLEST: Size = { columns: 60, rows: 14 };

const WIDE = 140;
/** Title, filters, keys. */
const FRAME_ROWS = 3;
/** Head of the timeline, and the rule above the details below it. */
const TIMELINE_HEAD = 1;
const RULE = 1;

export function isTooSmall({ columns, rows }: Size): boolean {
  return columns < SMALLEST.columns || rows < SMALLEST.rows;
}

export function geometryOf({ columns, rows }: Size): Geometry {
  const bodyRows = rows - FRAME_ROWS;
  if (columns >= WIDE) {
    const sessions = Math.min(36, Math.floor(columns * 0.14));
    const details = Math.min(72, Math.floor(columns * 0.25));
    return {
      sessions: { width: sessions, rows: bodyRows },
      timeline: { width: columns - sessions - details - 2, rows: bodyRows - TIMELINE_HEAD },
      details: { beside: true, width: details, rows: bodyRows },
      bodyRows,
    };
  }
  const sessions = Math.max(16, Math.min(28, Math.floor(columns * 0.22)));
  const details = Math.max(3, Math.floor(bodyRows / 3));
  const width = columns - sessions - 1;
  return {
    sessions: { width: sessions, rows: bodyRows },
    timeline: { width, rows: bodyRows - details - TIMELINE_HEAD - RULE },
    details: { beside: false, width, rows: details },
    bodyRows,
  };
}
