/** Keeps something on disk: what could not be saved is saved as soon as that works again, and is not passed over in silence. */
import { errorText } from '../../errors.ts'

const AGAIN_MS = 5_000

export interface SaverParts {
  /** Throws when it cannot. */
  save(): void
  /** Once, when saving begins to fail. */
  failed(why: string): void
  /** Once, when it works again. */
  recovered(): void
  againMs?: number
}

export class Saver {
  readonly #parts: SaverParts
  #why: string | undefined
  #again: NodeJS.Timeout | null = null
  #stopped = false

  constructor(parts: SaverParts) {
    this.#parts = parts
  }

  /** Why what is to be kept is not on disk, or undefined. */
  get unsaved(): string | undefined {
    return this.#why
  }

  /** Never throws. */
  save(): void {
    const before = this.#why
    try {
      this.#parts.save()
      this.#why = undefined
      if (before !== undefined) this.#parts.recovered()
    } catch (error) {
      this.#why = errorText(error)
      if (before === undefined) this.#parts.failed(this.#why)
      this.#later()
    }
  }

  /** A last attempt, if there is something left to save. */
  stop(): void {
    this.#stopped = true
    if (this.#again !== null) clearTimeout(this.#again)
    if (this.#why !== undefined) this.save()
  }

  #later(): void {
    if (this.#again !== null || this.#stopped) return
    this.#again = setTimeout(() => {
      this.#again = null
      if (this.#why !== undefined) this.save()
    }, this.#parts.againMs ?? AGAIN_MS)
    this.#again.unref()
  }
}
