/**
 * Tests that this machine cannot run. The runner counts each line `SKIP <name>: <reason>` as skipped and lists it;
 * a skip without a reason counts as failed. Nothing may pass silently.
 */
import type { Test } from 'uvu'

/** Says that a test is skipped; call it and return from the test, or use `testIf`. */
export const skip = (name: string, reason: string): void => {
  process.stdout.write(`\nSKIP ${name}: ${reason.replaceAll('\n', ' ')}\n`)
}

/** Adds a test, or a skip with the reason if `missing` says what this machine lacks. */
export const testIf = (
  missing: string | undefined,
  it: Test,
  name: string,
  run: () => Promise<void> | void,
): void => {
  if (missing === undefined) it(name, run)
  else {
    it.skip(name)
    skip(name, missing)
  }
}

/** `undefined` for root, else the reason to skip. */
export const missingRoot = (): string | undefined => (process.getuid?.() === 0 ? undefined : 'needs root')
