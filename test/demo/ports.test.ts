import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { afterEach, expect, it } from 'vitest'
import { findFreePorts } from './ports.ts'

const PROCESSES = 2
const PORTS = 500

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** A process that takes ports, says which, and lives on. */
async function portsOfAnotherProcess(): Promise<number[]> {
  const url = new URL('./ports.ts', import.meta.url).href
  const script = `import(${JSON.stringify(url)}).then(async ({ findFreePorts }) => {
    console.log(JSON.stringify(await findFreePorts(${PORTS})))
    setInterval(() => undefined, 60_000)
  })`
  const child = spawn(process.execPath, ['--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  let said = ''
  for await (const chunk of child.stdout) {
    said += String(chunk)
    if (said.endsWith('\n')) return JSON.parse(said) as number[]
  }
  throw new Error('the process ended without a word')
}

it.skipIf(process.platform !== 'linux')('processes that live at the same time never share a port', async () => {
  const all = [findFreePorts(PORTS), ...Array.from({ length: PROCESSES }, portsOfAnotherProcess)]
  const ports = (await Promise.all(all)).flat()
  expect(ports).toHaveLength((PROCESSES + 1) * PORTS)
  expect(new Set(ports).size).toBe(ports.length)
  const range = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
  for (const port of ports) expect(port).toBeLessThan(Math.max(Number.parseInt(range, 10), 20_000))
})
