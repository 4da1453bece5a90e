/** The frame's lines as Ink draws them, and Ink's keys by their names. */
import { Box, Text, useInput } from 'ink'
import { createElement, type ReactElement } from 'react'
import { keysOf } from './input.ts'
import type { Line, Style } from './lines.ts'
import type { State } from './model.ts'
import { frame } from './views/frame.ts'

type TextStyle = { color?: string; bold?: boolean; dimColor?: boolean; inverse?: boolean }

const STYLES: Record<Style, TextStyle> = {
  good: { color: 'green' },
  bad: { color: 'red', bold: true },
  odd: { color: 'yellow' },
  dim: { dimColor: true },
  head: { bold: true },
  chosen: { inverse: true },
}

/** With NO_COLOR, bold and inverse stay. */
const styleOf = (style: Style | undefined, colour: boolean): TextStyle => {
  if (style === undefined) return {}
  const { color, ...rest } = STYLES[style]
  return colour && color !== undefined ? { color, ...rest } : rest
}

const lineElement = (line: Line, row: number, colour: boolean): ReactElement =>
  createElement(
    Text,
    { key: row, wrap: 'truncate' },
    // An empty line would have no height.
    line.length === 0
      ? ' '
      : line.map((part, i) => createElement(Text, { key: i, ...styleOf(part.style, colour) }, part.text)),
  )

export const Screen = ({ state, colour }: { state: State; colour: boolean }): ReactElement =>
  createElement(
    Box,
    { flexDirection: 'column', width: state.columns, height: state.rows, overflow: 'hidden' },
    frame(state).map((line, row) => lineElement(line, row, colour)),
  )

export interface AppProps {
  state: State
  colour: boolean
  onKeys(keys: readonly string[]): void
}

export const App = ({ state, colour, onKeys }: AppProps): ReactElement => {
  useInput((input, key) => onKeys(keysOf(input, key)))
  return createElement(Screen, { state, colour })
}
