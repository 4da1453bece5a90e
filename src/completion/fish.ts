/** The completion script of fish. Pure. */
import { type CommandModel, type CompletionModel, firstWords, secondWords, type Values } from './model.ts'

const quote = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`

/** `-x` takes no files, `-r` takes a value, which may be a file. */
const valueFlags = (values: Values): string => {
  if (values.from === 'files') return '-r -F'
  if (values.from === 'list') return `-x -a ${quote(values.list.join(' '))}`
  return values.from === 'agent' ? `-x -a '(__shunt_names ${values.noun})'` : '-x'
}

const commandLines = (command: CommandModel): string[] => {
  const valued = command.options.filter(o => o.values !== null)
  const spellings = valued.flatMap(o => [`--${o.name}`, ...(o.char === undefined ? [] : [`-${o.char}`])])
  const here = `-n ${quote(`__shunt_is ${command.words.join(' ')}`)}`
  return [
    ...command.options.map(o => {
      const short = o.char === undefined ? '' : ` -s ${o.char}`
      const value = o.values === null ? '' : ` ${valueFlags(o.values)}`
      return `complete -c shunt ${here} -l ${o.name}${short}${value} -d ${quote(o.summary)}`
    }),
    ...command.args.map((arg, i) => {
      const at = `-n ${quote(`__shunt_is ${command.words.join(' ')}; and __shunt_place ${[command.words.length + i, ...spellings].join(' ')}`)}`
      const values = arg.values.from === 'files' ? '-F' : valueFlags(arg.values).replace('-x', '-f')
      return `complete -c shunt ${at} ${values}`
    }),
  ]
}

export const fishScript = (model: CompletionModel): string =>
  `${[
    '# fish completion of shunt, made by: shunt completion fish',
    'function __shunt_names',
    '    shunt completion --names $argv[1] 2>/dev/null </dev/null',
    'end',
    '# Whether the command line begins with these words.',
    'function __shunt_is',
    '    set -l line (commandline -opc)',
    '    test (count $line) -gt (count $argv); or return 1',
    '    set -l last (math (count $argv) + 1)',
    '    test "$line[2..$last]" = "$argv"',
    'end',
    '# Whether so many words stand between shunt and the cursor, without options and the values of those that are named.',
    'function __shunt_place',
    '    set -l skip 0',
    '    set -l place 0',
    '    for word in (commandline -opc)[2..]',
    '        if test $skip = 1',
    '            set skip 0',
    '        else if contains -- $word $argv[2..]',
    '            set skip 1',
    '        else if not string match -q -- "-*" $word',
    '            set place (math $place + 1)',
    '        end',
    '    end',
    '    test $place -eq $argv[1]',
    'end',
    'complete -c shunt -f',
    ...firstWords(model).map(
      w => `complete -c shunt -n '__shunt_place 0' -a ${quote(w.name)} -d ${quote(w.summary)}`,
    ),
    ...firstWords(model).map(
      w =>
        `complete -c shunt -n '__shunt_is help; and __shunt_place 1' -a ${quote(w.name)} -d ${quote(w.summary)}`,
    ),
    ...model.topics.flatMap(({ name }) =>
      secondWords(model, name).map(
        w =>
          `complete -c shunt -n ${quote(`__shunt_is ${name}; and __shunt_place 1`)} -a ${quote(w.name)} -d ${quote(w.summary)}`,
      ),
    ),
    ...model.commands.flatMap(commandLines),
  ].join('\n')}\n`
