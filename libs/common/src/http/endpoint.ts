/** Where requests go: a base URL that may hold credentials or an API key, which no message repeats. */

import type { HttpRequest } from './types.ts'

/** What is as long as this in a URL may be an API key. */
const KEY_LENGTH = 8
const MAX_QUOTE = 200

/** A base URL without its credentials, and what is known of it. */
export interface Endpoint {
  /** In the client's list. */
  position: number
  url: URL
  host: string
  /** Its credentials. */
  headers: Record<string, string>
  /** What of its URL must not be repeated. */
  secrets: readonly string[]
  /** How many failures there had been when it was last admitted; undefined: never. */
  admittedAt: number | undefined
}

/** Reads an endpoint. @throws {TypeError} it is not an http or https URL (the text is not repeated) */
export function parseEndpoint(endpoint: string | URL, position: number): Endpoint {
  if (!URL.canParse(String(endpoint))) throw new TypeError(`endpoint ${position + 1} is not a URL`)
  const url = new URL(endpoint)
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new TypeError(`endpoint ${position + 1} must start with http:// or https://`)
  const headers: Record<string, string> = {}
  const longParts = [...url.pathname.split('/'), ...url.searchParams.values()].filter(
    (part) => part.length >= KEY_LENGTH,
  )
  const secrets = longParts.flatMap((part) => [part, decode(part)])
  if (url.username !== '' || url.password !== '') {
    const [name, password] = [decode(url.username), decode(url.password)]
    const basic = Buffer.from(`${name}:${password}`).toString('base64')
    headers['authorization'] = `Basic ${basic}`
    secrets.push(basic, ...[url.password, password].filter((secret) => secret !== ''))
    // A token may stand in the place of the name.
    if (password === '' || name.length >= KEY_LENGTH) secrets.push(url.username, name)
    url.username = ''
    url.password = ''
  }
  url.hash = ''
  return { position, url, host: url.host, headers, secrets, admittedAt: undefined }
}

/** Without its per cent signs, where they are an encoding. */
function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** The URL of a request. The endpoint's own path and query come first: providers put API keys there. */
export function targetOf(base: URL, request: HttpRequest): URL {
  const url = new URL(base)
  if (request.path !== '') url.pathname = `${base.pathname.replace(/\/+$/, '')}${request.path}`
  for (const [name, value] of Object.entries(request.query ?? {})) url.searchParams.set(name, value)
  return url
}

/** A stranger's text as it may be logged: cut, without URLs, and hidden whole where it repeats a secret of the endpoints. */
export function quote(text: string, endpoints: readonly Endpoint[]): string {
  const bare = text.replace(/\b[a-z]+:\/\/\S+/gi, '<url>')
  const isSecret = endpoints.some(({ secrets }) => secrets.some((secret) => bare.includes(secret)))
  return isSecret ? '<hidden>' : bare.slice(0, MAX_QUOTE)
}
