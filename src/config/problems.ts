/** What is wrong with a file, by place. Pure. */

export type Path = readonly (string | number)[]
/** Something wrong at a place in the document. */
export interface Problem {
  path: Path
  message: string
}

/** Reports a second use of a value that must be used once. */
export const unique = (problems: Problem[], what: string) => {
  const seen = new Map<string, Path>()
  return (value: string, path: Path): void => {
    const first = seen.get(value)
    if (first === undefined) seen.set(value, path)
    else problems.push({ path, message: `${what} ${value} is already used at ${pathText(first)}` })
  }
}

/** `services[0].vip` */
export const pathText = (path: Path): string =>
  path.map((p, i) => (typeof p === 'number' ? `[${p}]` : keyText(p, i))).join('') || 'the document'

/** A key may be any text, also one with newlines. */
const keyText = (key: string, depth: number): string => {
  const shown = /^[^\s\p{C}]+$/u.test(key) ? key : JSON.stringify(key)
  return depth === 0 ? shown : `.${shown}`
}
