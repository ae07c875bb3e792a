//! How many pixels of any rectangle are on, from sums over all that lies above and to the left (F. C. Crow, "Summed-area tables for
//! texture mapping", SIGGRAPH 1984).

/// Built once for a mask; a rectangle then takes four reads.
pub struct Sums {
    /// Columns of the table: one more than the mask has.
    across: usize,
    sums: Vec<u32>,
}

impl Sums {
    /// Of `w` × `h` pixels that `on` gives by their index, row by row.
    pub fn of(w: usize, h: usize, on: impl Fn(usize) -> bool) -> Sums {
        let across = w + 1;
        let mut sums = vec![0u32; across * (h + 1)];
        for y in 0..h {
            let mut row = 0;
            for x in 0..w {
                row += on(y * w + x) as u32;
                sums[(y + 1) * across + x + 1] = sums[y * across + x + 1] + row;
            }
        }
        Sums { across, sums }
    }

    /// Pixels that are on in the rectangle with the corner (x, y), `w` × `h` pixels, inside the mask.
    pub fn count(&self, (x, y): (usize, usize), (w, h): (usize, usize)) -> u32 {
        let at = |x: usize, y: usize| self.sums[y * self.across + x];
        at(x + w, y + h) + at(x, y) - at(x + w, y) - at(x, y + h)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_are_counted_pixel_by_pixel() {
        let (w, h) = (7, 5);
        let on = |i: usize| i * i % 5 < 2;
        let sums = Sums::of(w, h, on);
        for (x, y) in (0..h).flat_map(|y| (0..w).map(move |x| (x, y))) {
            for (rw, rh) in (0..=h - y).flat_map(|rh| (0..=w - x).map(move |rw| (rw, rh))) {
                let inside = (y..y + rh).flat_map(|y| (x..x + rw).map(move |x| y * w + x));
                assert_eq!(sums.count((x, y), (rw, rh)) as usize, inside.filter(|&i| on(i)).count());
            }
        }
    }
}
