/** Texts of a page whose contrast with what is behind them is less than WCAG 2 wants (AA: 4.5). Runs in the page, as text. */
;(() => {
  const numbers = (color) => (color.match(/[\d.]+/g) ?? []).map(Number)
  const luminance = (color) => {
    const [r = 0, g = 0, b = 0] = numbers(color).map((value) => {
      const part = value / 255
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const backOf = (element) => {
    if (element === null) return 'rgb(255, 255, 255)'
    const back = getComputedStyle(element).backgroundColor
    return numbers(back)[3] === 0 ? backOf(element.parentElement) : back
  }
  const poor = new Set()
  for (const element of document.querySelectorAll('main *, header *')) {
    const hasText = [...element.childNodes].some(
      (node) => node.nodeType === Node.TEXT_NODE && (node.nodeValue ?? '').trim() !== '',
    )
    if (!hasText) continue
    const [text, back] = [luminance(getComputedStyle(element).color), luminance(backOf(element))]
    const contrast = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05)
    if (contrast < 4.5) poor.add(`${element.nodeName}.${element.className} ${contrast.toFixed(1)}`)
  }
  return [...poor]
})()
