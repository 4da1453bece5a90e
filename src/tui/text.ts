/** Text in cells of a terminal: what is shown never moves the cursor, wraps or shifts its neighbours. */
import { stripVTControlCharacters } from 'node:util'

export { compact as short } from '../cli/format.ts'

/** Most cells are like this: tables of a thousand rows are drawn many times a second. */
const PLAIN = /^[!-~]*(?: [!-~]+)*$/

/** Names and sentences come from other machines. Code points that are not one cell wide become `?`. */
export const clean = (text: string): string =>
  PLAIN.test(text)
    ? text
    : stripVTControlCharacters(text)
        .replace(/\s+/g, ' ')
        .replace(
          /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{M}\p{Extended_Pictographic}\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f000}-\u{3ffff}]/gu,
          '?',
        )

/** Exactly `width` cells; `~` says that something was cut off. */
export const fit = (text: string, width: number, right = false): string => {
  if (width <= 0) return ''
  if (text.length > width) return width === 1 ? text.slice(0, 1) : `${text.slice(0, width - 1)}~`
  return right ? text.padStart(width) : text.padEnd(width)
}

/** Lines of at most `width` cells, broken at spaces where there are any. */
export const wrap = (text: string, width: number): string[] => {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = ''
    }
    line = line === '' ? word : `${line} ${word}`
    while (line.length > width) {
      lines.push(line.slice(0, width))
      line = line.slice(width)
    }
  }
  return [...lines, line]
}

const BARS = { unicode: '▁▂▃▄▅▆▇█', ascii: '_.-:=+*#' } as const

/**
 * The newest `width` values as bars, newest at the right end, scaled from 0 to the largest shown. A value above 0
 * is never drawn like 0.
 */
export const sparkline = (values: readonly number[], width: number, unicode: boolean): string => {
  if (width <= 0) return ''
  const bars = unicode ? BARS.unicode : BARS.ascii
  const shown = values.slice(-width)
  const top = Math.max(...shown, 0)
  const bar = (value: number): string =>
    value <= 0 || top === 0 ? bars[0]! : bars[Math.max(1, Math.ceil((value / top) * 8) - 1)]!
  return shown.map(bar).join('').padStart(width)
}
