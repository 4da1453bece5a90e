/** What is drawn: lines of spans. Styles are hints; nothing is said by colour alone. */
export type Style = 'good' | 'bad' | 'odd' | 'dim' | 'head' | 'chosen'

export interface Span {
  text: string
  style?: Style
}
export type Line = readonly Span[]

export const span = (text: string, style?: Style): Span => (style === undefined ? { text } : { text, style })
export const lineText = (line: Line): string => line.map(part => part.text).join('')

/** At most `width` cells; what is longer ends with `~`. */
export const cut = (line: Line, width: number): Line => {
  const out: Span[] = []
  let left = width
  for (const [i, part] of line.entries()) {
    const more = line.slice(i + 1).some(next => next.text.trimEnd() !== '')
    if (part.text.length < left || (part.text.length === left && !more)) {
      out.push(part)
      left -= part.text.length
      continue
    }
    if (left > 0) out.push({ ...part, text: `${part.text.slice(0, left - 1)}~` })
    break
  }
  return out
}
