const ready = new WeakSet()

// Streamlit calls this whenever the data or the theme changes; divider and button keep their place.
export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".compare")
  const frame = root.querySelector(".frame")
  const images = root.querySelectorAll("img")
  const slider = root.querySelector("input")
  const button = root.querySelector("button")
  const [width, height] = data.size

  root.style.setProperty("--ratio", width / height)
  root.style.setProperty("--max-height", `${data.maxHeight ?? 1e6}px`)
  slider.ariaLabel = `Divider between ${data.labels[0]} and ${data.labels[1]}`
  button.ariaLabel = `Blink between ${data.labels[0]} and ${data.labels[1]}`
  images.forEach((image, side) => {
    image.alt = `${data.alt}: ${data.labels[side]}`
    if (image.src !== data.images[side]) image.src = data.images[side]
  })
  frame.dataset.pixels = width
  sharpen(frame, images)
  root.querySelectorAll(".label").forEach((label, side) => (label.textContent = data.labels[side]))
  if (ready.has(root)) return

  ready.add(root)
  const split = percent => {
    slider.value = percent
    root.style.setProperty("--split", slider.value / 100)
  }
  slider.oninput = () => split(slider.value)
  button.onclick = () => (button.ariaPressed = String(root.classList.toggle("blinking")))
  frame.onpointerdown = frame.onpointermove = event => {
    if (event.type === "pointerdown") frame.setPointerCapture(event.pointerId)
    if (!frame.hasPointerCapture(event.pointerId)) return
    const { left, width } = frame.getBoundingClientRect()
    split((100 * (event.clientX - left)) / width)
  }
  new ResizeObserver(() => sharpen(frame, images)).observe(frame)
}

function sharpen(frame, images) {
  const sharp = frame.clientWidth > 2 * frame.dataset.pixels
  images.forEach(image => image.classList.toggle("sharp", sharp))
}
