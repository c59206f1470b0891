import { expect, it } from 'vitest'
import { createLogger } from './logger.ts'
import { logOthersLines } from './others-lines.ts'

function collect() {
  const lines: Record<string, unknown>[] = []
  const logger = createLogger({
    level: 'debug',
    format: 'json',
    destination: { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) },
  })
  return { lines, logger }
}

it('makes a log line of what a library prints, once, without what must not be in a log', () => {
  const { lines, logger } = collect()
  const before = [console.warn, console.error, console.log]
  {
    using _fence = logOthersLines(logger)
    const failure = Object.assign(new Error('refused at redis://user:secret@host'), { command: { args: ['secret'] } })
    for (let i = 0; i < 3; i++) console.warn('IMPORTANT! %s', 'x')
    console.error('[lib] failed:', failure)
    console.log(`key ${'ab'.repeat(40)}`)
  }
  expect([console.warn, console.error, console.log]).toEqual(before)
  expect(lines.map(({ level, source, text }) => [level, source, text])).toEqual([
    ['warn', 'console.warn', 'IMPORTANT! x'],
    ['warn', 'console.error', '[lib] failed: refused at redis://***@host'],
    ['debug', 'console.log', 'key <hex>'],
  ])
  expect(JSON.stringify(lines)).not.toContain('secret')
})

it('makes one of a warning of the runtime, and gives it back to whoever printed it before', async () => {
  const { lines, logger } = collect()
  const before = process.listeners('warning')
  {
    using _fence = logOthersLines(logger)
    process.emitWarning('a mode is treated as another one')
    await new Promise((resolve) => process.once('warning', resolve))
  }
  expect(process.listeners('warning')).toEqual(before)
  expect(lines).toMatchObject([{ level: 'warn', source: 'node', err: { message: 'a mode is treated as another one' } }])
})
