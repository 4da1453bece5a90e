import { isInteractive, paint, print } from './output.ts'

const CLEAR = '\x1b[H\x1b[2J\x1b[3J'

/** A look in the place of the one before, under a line that says what it is; below it where there is no screen. */
export const redraw = (head: string, text: string, isFirst: boolean): void => {
  if (isInteractive()) print(`${CLEAR}${paint('dim', head)}\n\n${text}`)
  else print(isFirst ? text : `\n${text}`)
}
