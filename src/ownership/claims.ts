/** The highest claim of each VIP that is known here. Pure. */
import { hash } from 'node:crypto'
import { isAbove } from './generation.ts'
import { reluctance } from './placement.ts'
import { type Claim, DIGEST_LENGTH, type Standing } from './types.ts'

/** Whether `a` is in force where both are known: all that hear both say the same (R-G6). Nobody's claim gives way to anybody's. */
export const beats = (a: Claim, b: Claim): boolean => {
  if (a.generation !== b.generation) return isAbove(a.generation, b.generation)
  if (a.holder === b.holder) return rest(a) > rest(b)
  if (a.holder === '' || b.holder === '') return b.holder === ''
  if (a.ordered !== b.ordered) return a.ordered
  const [first, second] = [reluctance(a.vip, a.holder, 1), reluctance(b.vip, b.holder, 1)]
  return first === second ? a.holder < b.holder : first < second
}

/**
 * Of one holder in one generation the claim of less support is the later one: its holder saw more nodes vanish; and the brief one: its kernel no
 * longer goes on alone, or an older peer that does not know the word has passed the claim on. Else there are two only if it forgot its own; still
 * everybody must choose the same.
 */
const rest = ({ ordered, death, support, brief }: Claim): number =>
  (ordered ? 2 ** 34 : 0) + (death ? 2 ** 33 : 0) + (brief === true ? 2 ** 32 : 0) - support

export class Claims {
  readonly #claims = new Map<string, Claim>()
  #digest: string | null = null
  #plainDigest: string | null = null

  of(vip: string): Claim | null {
    return this.#claims.get(vip) ?? null
  }

  generationOf(vip: string): number {
    return this.of(vip)?.generation ?? 0
  }

  all(): Claim[] {
    return [...this.#claims.values()]
  }

  /** Takes it if it is higher than what is known. */
  take(claim: Claim): boolean {
    const known = this.of(claim.vip)
    if (known !== null && !beats(claim, known)) return false
    this.#claims.set(claim.vip, claim)
    this.#changed()
    return true
  }

  /** Forgets all other VIPs. */
  keep(vips: ReadonlySet<string>): void {
    for (const vip of this.#claims.keys()) if (!vips.has(vip)) this.#claims.delete(vip)
    this.#changed()
  }

  #changed(): void {
    this.#digest = this.#plainDigest = null
  }

  /** The same for the same claims. */
  get digest(): string {
    this.#digest ??= digestOf(this.all().map(claim => fields(claim) + (claim.brief === true ? ',brief' : '')))
    return this.#digest
  }

  /** The same for what an older peer knows of the same claims. */
  get plainDigest(): string {
    this.#plainDigest ??= digestOf(this.all().map(fields))
    return this.#plainDigest
  }

  /** As a peer reckons it that has said this of itself; null: nothing yet. */
  digestFor(standing: Standing | null): string {
    return standing === null || standing.readsBrief === true ? this.digest : this.plainDigest
  }
}

const digestOf = (lines: string[]): string =>
  hash('sha256', JSON.stringify(lines.sort()), 'hex').slice(0, DIGEST_LENGTH)

const fields = ({ vip, generation, holder, ordered, death, support }: Claim): string =>
  [vip, generation, holder, ordered, death, support].join()
