import { paint } from './output.ts'

/** The word stays readable without colour. */
export const paintState = (text: string): string =>
  paint(text === 'alive' ? 'good' : text === 'dead' ? 'bad' : 'odd', text)
