/** nginx and Caddy as deploy/proxy sets them up, but for addresses and certificate: real ones of this machine, in a folder of their own. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { OutgoingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findFreePorts } from '../../demo/ports.ts'
import { makeCa } from '../services/certificates.ts'
import { eventually } from '../world/world.ts'
import { ROOT } from './tools.ts'

export interface ProxyAnswer {
  status: number
  text: string
}
export interface TlsProxy extends AsyncDisposable {
  /** Sends a request with its path byte for byte. */
  ask(path: string, options?: { method?: string; body?: string; headers?: OutgoingHttpHeaders }): Promise<ProxyAnswer>
}

/** A text with every part of it replaced that must be there. */
function replaced(text: string, parts: Readonly<Record<string, string>>): string {
  return Object.entries(parts).reduce((rest, [part, by]) => {
    if (!rest.includes(part)) throw new Error(`the example has no ${part}`)
    return rest.replaceAll(part, by)
  }, text)
}

interface Place {
  dir: string
  port: number
  upstream: number
}

/** Writes the whole configuration around the example; returns the command that runs it. */
const PROXIES = {
  async nginx({ dir, port, upstream }: Place): Promise<string[]> {
    const example = replaced(await readFile(join(ROOT, 'deploy/proxy/nginx.conf'), 'utf8'), {
      'listen 443 ssl': `listen 127.0.0.1:${port} ssl`,
      '/etc/ssl/relayer.pem': join(dir, 'cert.pem'),
      '/etc/ssl/relayer.key': join(dir, 'key.pem'),
      '127.0.0.1:8000': `127.0.0.1:${upstream}`,
    })
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (name) => `${name}_temp_path ${join(dir, name)};`,
    )
    const user = process.getuid?.() === 0 ? 'user root;' : ''
    const text = `${user} daemon off; pid ${join(dir, 'pid')}; error_log stderr; worker_processes 1;
      events {} http { access_log off; ${temporary.join(' ')}\n${example}\n}`
    await writeFile(join(dir, 'main.conf'), text)
    return ['nginx', '-e', 'stderr', '-p', dir, '-c', join(dir, 'main.conf')]
  },
  async caddy({ dir, port, upstream }: Place): Promise<string[]> {
    const example = replaced(await readFile(join(ROOT, 'deploy/proxy/Caddyfile'), 'utf8'), {
      'relayer.example {': `https://127.0.0.1:${port} {\n  tls ${join(dir, 'cert.pem')} ${join(dir, 'key.pem')}`,
      '127.0.0.1:8000': `127.0.0.1:${upstream}`,
    })
    await writeFile(join(dir, 'Caddyfile'), `{\n  admin off\n  auto_https disable_redirects\n}\n${example}`)
    return ['caddy', 'run', '--config', join(dir, 'Caddyfile'), '--adapter', 'caddyfile']
  },
}
export type ProxyName = keyof typeof PROXIES

/** Starts a proxy in front of what listens on `upstream`. @throws when it ends before it listens, with what it said */
export async function startTlsProxy(name: ProxyName, upstream: number): Promise<TlsProxy> {
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'dvt-proxy-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const ca = makeCa('proxy')
  const { cert, key } = ca.issue('relayer.example')
  await Promise.all([writeFile(join(dir, 'cert.pem'), cert), writeFile(join(dir, 'key.pem'), key)])
  const [port = 0] = await findFreePorts(1)
  const [program = '', ...args] = await PROXIES[name]({ dir, port, upstream })
  const child = spawn(program, args, {
    env: { ...process.env, HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const ended = once(child, 'close')
  stack.defer(async () => {
    child.kill('SIGTERM')
    await ended
  })

  const ask: TlsProxy['ask'] = async (path, { method = 'GET', body, headers = {} } = {}) => {
    const asked = request({ host: '127.0.0.1', port, path, method, headers, ca: ca.cert, agent: false })
    asked.end(body)
    const [response] = await once(asked, 'response')
    let text = ''
    for await (const chunk of response) text += String(chunk)
    return { status: response.statusCode, text }
  }
  await eventually(`${name} listens`, async () => {
    if (child.exitCode !== null) throw new Error(`${name} ended: ${said}`)
    return await ask('/health').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNREFUSED') throw error
      return undefined
    })
  })
  const resources = stack.move()
  return { ask, [Symbol.asyncDispose]: () => resources[Symbol.asyncDispose]() }
}
