import { paint } from './output.ts'

const STYLES = new Map<string, Parameters<typeof paint>[0]>([
  ['alive', 'good'],
  ['healthy', 'good'],
  ['active', 'good'],
  ['dead', 'bad'],
  ['failing', 'bad'],
  ['over', 'bad'],
  ['absent', 'bad'],
  ['-', 'dim'],
])

/** The word stays readable without colour. */
export const paintState = (text: string): string => paint(STYLES.get(text) ?? 'odd', text)
