/** What a decoder of health messages throws; the shell counts it and goes on. */
export class HealthError extends Error {
  override readonly name = 'HealthError'
  /** The message is of a type above the known ones: a newer peer's, to be skipped rather than held against it. */
  readonly unknown: boolean

  constructor(message: string, unknown = false) {
    super(message)
    this.unknown = unknown
  }
}

/** Throws HealthError. */
export const badHealth = (what: string): never => {
  throw new HealthError(what)
}
