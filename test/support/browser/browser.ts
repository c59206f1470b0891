/** Debian's chromium, driven by playwright-core: pages as people see them. */

import { spawnSync } from 'node:child_process'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { expect } from 'vitest'

const PROGRAM = 'chromium'

function findChromium(): string | undefined {
  const { stdout, status } = spawnSync('which', [PROGRAM], { encoding: 'utf8' })
  return status === 0 ? stdout.trim() : undefined
}

/** Whether a test without chromium is skipped (with CI=true a missing chromium fails instead). */
export const skipWithoutChromium = findChromium() === undefined && process.env['CI'] !== 'true'

/** Starts a browser; ended when disposed. */
export async function startBrowser(): Promise<AsyncDisposable & { browser: Browser }> {
  const executablePath = findChromium()
  if (executablePath === undefined) throw new Error(`${PROGRAM} is missing: CI installs it`)
  // A container has no namespaces to spare, and little shared memory.
  const args = ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu']
  const browser = await chromium.launch({ executablePath, args, timeout: 120_000 })
  return { browser, [Symbol.asyncDispose]: () => browser.close() }
}

/** A page, and everything that must not have happened on it. */
export interface WatchedPage extends AsyncDisposable {
  page: Page
  /** Nothing was refused by its policy, failed in its scripts, opened a dialog, or was asked of another host. */
  expectClean(): void
}

/** Opens a page for the token, typed as a person types it. */
export async function openPage(
  browser: Browser,
  url: string,
  token: string | undefined,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({
    viewport: { width: 1100, height: 900 },
    ...(token === undefined ? {} : { httpCredentials: { username: 'me', password: token } }),
    ...options,
  })
  const page = await context.newPage()
  page.setDefaultTimeout(120_000)
  const faults: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(message.text())
  })
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) faults.push(`asked of ${request.url()}`)
  })
  return {
    page,
    expectClean: () => expect(faults).toEqual([]),
    [Symbol.asyncDispose]: () => context.close(),
  }
}
