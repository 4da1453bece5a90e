/** What the command library says of a wrong command line, in our words, with what was probably meant. Pure. */
import { didYouMean } from '../config/suggest.ts'

type Say = (...parts: string[]) => string

const choice = (given: string, choices: string): string =>
  `one of ${choices}, not "${given}"${didYouMean(given, choices.split(', '))}`

const SENTENCES: readonly [RegExp, Say][] = [
  [
    /^Parsing (--\S+) Expected an integer but received: (.*)$/,
    (flag, given) => `${flag} takes a whole number, not "${given}"`,
  ],
  [
    /^Parsing (--\S+) Expected an integer greater than or equal to (\S+) but received: (.*)$/,
    (flag, least, given) => `${flag} is at least ${least}, not ${given}`,
  ],
  [
    /^Parsing (--\S+) Expected an integer less than or equal to (\S+) but received: (.*)$/,
    (flag, most, given) => `${flag} is at most ${most}, not ${given}`,
  ],
  [/^Flag (--\S+) expects a value$/, flag => `${flag} needs a value behind it`],
  [
    /^Flag (--\S+) expects one of these values: (.*)$/,
    (flag, choices) => `${flag} needs a value behind it: one of ${choices}`,
  ],
  [/^Flag (--\S+) can only be specified once$/, flag => `${flag} can be given only once`],
  [
    /^Expected (--\S+?)=(.*) to be one of: (.*)$/,
    (flag, given, choices) => `${flag} is ${choice(given, choices)}`,
  ],
  [/^Expected (.*) to be one of: (.*)$/, (given, choices) => `the argument is ${choice(given, choices)}`],
  [
    /^(--[^\s=]+)(?:=.*)? cannot also be provided when using (--\S+)$/,
    (one, other) => `${one} and ${other} exclude each other: give one of them`,
  ],
  [
    /^All of the following must be provided when using (--\S+): (.*)$/,
    (one, others) => `${one} needs ${others} too`,
  ],
  [/^Missing required flag (\S+)$/, flag => `--${flag} is missing`],
  [/^Unexpected arguments?: (.*)$/, given => `too much: "${given}"; the command takes no such argument`],
]

/** @param text the library's; what is not known stays as it is, in one line */
export const usageText = (text: string): string => {
  const message = text
    .replace(/\nSee more help with --help$/, '')
    .replace(/^The following errors? occurred:\s*/, '')
    .replace(/\s*\n\s*/g, ' ')
    .trim()
  for (const [form, say] of SENTENCES) {
    const found = form.exec(message)
    if (found !== null) return say(...found.slice(1))
  }
  return message
}

export interface MissingArgument {
  name: string
  description?: string | undefined
}

/** `FILE is missing (The file, YAML or JSON)` */
export const missingText = (missing: readonly MissingArgument[]): string =>
  missing
    .map(({ name, description }) => {
      const what = description === undefined ? '' : ` (${description.replace(/\.$/, '')})`
      return `${name.toUpperCase()} is missing${what}`
    })
    .join('; ')
